"""Run by Blender: where the bones of a file begin, frame by frame.

blender --background --factory-startup --python blender_joints.py -- MOTION FPS OUT
"""

import builtins
import json
import sys

import bpy
import numpy as np

# Blender 3.4 is older than what Debian puts beside it: its reader of glTF asks for `np.bool`, its
# reader of BVH for files of mode "rU"
np.bool = bool
plain_open = open


def open_without_u(name, mode="r", *more, **options):
    return plain_open(name, mode.replace("U", ""), *more, **options)


builtins.open = open_without_u
path, fps, out = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps = int(fps)
if path.endswith(".bvh"):
    bpy.ops.import_anim.bvh(filepath=path, global_scale=0.01, frame_start=0)
else:
    bpy.ops.import_scene.gltf(filepath=path)
(armature,) = [thing for thing in scene.objects if thing.type == "ARMATURE"]
first, last = map(int, armature.animation_data.action.frame_range)
frames = []
for frame in range(first, last + 1):
    scene.frame_set(frame)
    heads = {bone.name: armature.matrix_world @ bone.head for bone in armature.pose.bones}
    frames.append({name: list(head) for name, head in heads.items()})
with open(out, "w") as file:
    json.dump(frames, file)
