"""How many pictures of the body the rasteriser draws in a second, on all cores.

`plain` and `textured` are one posed-in-place body, seen from its own side, on its own background:
normals, projection, rasterisation, shading, averaging and compositing are all counted.  A `scene`
is two dressed bodies side by side, under sky and sun, with gloss, bump maps, ambient occlusion,
and shadows on themselves, on each other and on the ground; depth, meshes and parts are returned
as well.  The best of several rounds is taken, since other work on the machine only makes a round
slower.  The table goes to `benchmarks/render.md` too.

    python benchmarks/render.py [--size 224] [--images 256] [--rounds 7]
"""

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np

import hmrlib
from hmrlib.camera import frame, look_at
from hmrlib.render import Mesh, Scene, Sun, mipmap, render_batch, render_scenes, sky

SKY = sky(zenith=(0.35, 0.5, 0.8), horizon=(0.6, 0.62, 0.65), ground=(0.22, 0.2, 0.17))
SUN = Sun((-0.6, 1, 0.7), (0.75, 0.7, 0.6), softness=1.5)


def rates(draw, images, rounds):
    """Best images a second by the clock, and least processor time an image in milliseconds."""
    best, least = 0.0, np.inf
    for _ in range(rounds):
        clock, processor = time.perf_counter(), time.process_time()
        draw()
        best = max(best, images / (time.perf_counter() - clock))
        least = min(least, 1e3 * (time.process_time() - processor) / images)
    return best, least


def textures(size=256):
    """A texture of stripes and noise, and a bump map of folds."""
    rng = np.random.default_rng(1)
    stripes = np.where(np.arange(size) % 32 < 6, 60, 170)[None, :, None]
    picture = np.clip(stripes + rng.normal(0, 12, (size, size, 3)), 0, 255).astype(np.uint8)
    y, x = np.mgrid[:size, :size] * (2 * np.pi / size)
    return mipmap(picture), mipmap(0.002 * np.sin(6 * x + 2 * np.sin(2 * y)) * np.sin(3 * y))


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=224, help="of a picture's side, in pixels")
    parser.add_argument("--images", type=int, default=256, help="in a batch")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    body = hmrlib.load_body()
    vertices, faces = np.asarray(body.v_template), np.asarray(body.faces)
    rng = np.random.default_rng(0)
    size, images = (options.size, options.size), options.images
    cameras = [frame(vertices, angle, size) for angle in rng.uniform(0, 360, images)]
    bodies = np.repeat(vertices[None], images, 0)
    backgrounds = rng.integers(0, 256, (images, *size, 3), np.uint8)

    uv = 2 * vertices[:, :2] * (1, -1)
    texture, folds = textures()
    dressed = Mesh(vertices, faces, uv=uv, texture=texture)
    textured = [
        Scene([dressed], camera, SKY, background=background, occlusion=0)
        for camera, background in zip(cameras, backgrounds, strict=True)
    ]
    standing = vertices - np.array([0, vertices[:, 1].min(), 0])
    pair = [
        Mesh(standing + np.array([x, 0, x / 4]), faces, None, uv, texture, folds, gloss=0.2)
        for x in (-0.5, 0.5)
    ]
    view = look_at((0.3, 1.5, 4.2), (0, 0.85, 0), fov=30, size=size)
    scenes = [Scene(pair, view, SKY, SUN, (0, 1, 0, 0), background) for background in backgrounds]

    def plain(supersample, threads):
        render_batch(
            bodies,
            faces,
            cameras,
            backgrounds=backgrounds,
            supersample=supersample,
            threads=threads,
        )

    kinds = {
        "plain": plain,
        "textured": lambda samples, n: render_scenes(textured, samples, n, buffers=()),
        "scene": lambda samples, n: render_scenes(scenes, samples, n, ("depth", "mesh", "parts")),
    }
    cores = os.cpu_count()
    lines = [
        f"{vertices.shape[0]} vertices, {faces.shape[0]} faces, {size[0]}x{size[1]} pixels; "
        f"{cores} cores, {platform.machine()}; `python benchmarks/render.py`.\n",
        "| picture | samples a pixel | threads | images/s | ms of processor time an image |",
        "|:--|:--|--:|--:|--:|",
    ]
    print(*lines, sep="\n")
    for kind, draw in kinds.items():
        for supersample in (1, 2, 4):
            for threads in sorted({1, cores}):
                draw(supersample, threads)  # compiles
                best, least = rates(
                    lambda draw=draw, samples=supersample, n=threads: draw(samples, n),
                    images,
                    options.rounds,
                )
                samples = f"{supersample}x{supersample}"
                lines.append(f"| {kind} | {samples} | {threads} | {best:,.0f} | {least:.2f} |")
                print(lines[-1], flush=True)
    Path(__file__).with_suffix(".md").write_text("\n".join([*lines, ""]), "utf-8")


if __name__ == "__main__":
    main()
