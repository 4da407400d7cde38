"""How many pictures of the body the rasteriser draws in a second, on all cores.

Each picture is one posed-in-place body, seen from its own side, on its own background: vertex
normals, shading, projection, rasterisation, averaging and compositing are all counted.  The best
of several rounds is taken, since other work on the machine only makes a round slower.

    python benchmarks/render.py [--size 224] [--images 256] [--rounds 7]
"""

import argparse
import os
import time

import numpy as np

import hmrlib
from hmrlib.camera import frame
from hmrlib.render import render_batch


def rates(draw, images, rounds):
    """Best images a second by the clock, and least processor time an image in milliseconds."""
    best, least = 0.0, np.inf
    for _ in range(rounds):
        clock, processor = time.perf_counter(), time.process_time()
        draw()
        best = max(best, images / (time.perf_counter() - clock))
        least = min(least, 1e3 * (time.process_time() - processor) / images)
    return best, least


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
    size = (options.size, options.size)
    cameras = [frame(vertices, angle, size) for angle in rng.uniform(0, 360, options.images)]
    bodies = np.repeat(vertices[None], options.images, 0)
    backgrounds = rng.integers(0, 256, (options.images, *size, 3), np.uint8)

    cores = os.cpu_count()
    print(f"{vertices.shape[0]} vertices, {faces.shape[0]} faces, {size[0]}x{size[1]} pixels")
    print("| samples a pixel | threads | images/s | ms of processor time an image |")
    print("|---|---|---|---|")
    for supersample in (1, 2, 4):
        for threads in sorted({1, cores}):

            def draw(supersample=supersample, threads=threads):
                render_batch(
                    bodies,
                    faces,
                    cameras,
                    backgrounds=backgrounds,
                    supersample=supersample,
                    threads=threads,
                )

            draw()  # compiles
            best, least = rates(draw, options.images, options.rounds)
            print(f"| {supersample}x{supersample} | {threads} | {best:,.0f} | {least:.2f} |")


if __name__ == "__main__":
    main()
