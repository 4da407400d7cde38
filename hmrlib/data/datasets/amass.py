"""AMASS: poses without pictures."""


def amass(source, out):
    """AMASS: more than 40 hours of motion capture as poses of SMPL's kin, without pictures.

        AMASS/
          CMU/01/01_01_poses.npz ...      poses (T, 156) axis-angle, trans (T, 3) metres, z up,
          ACCAD/Female1General_c3d/...    mocap_framerate; SMPL-H's layout, or SMPL-X's

    It becomes a pose library and no records: see `motion.gather.build_library`. The published
    splits go by the first folder, which `clip_folders` keeps: HumanEva, MPI_HDM05, SFU and
    MPI_mosh validate, Transitions_mocap and SSM_synced test, the others train.

    Source: Mahmood et al., ICCV 2019; amass.is.tue.mpg.de, after registration. Licence: for
    non-commercial research.

    Returns:
        path of the library, and the table of what was taken and skipped.
    """
    from hmrlib.body.model import load_body
    from hmrlib.motion.gather import build_library

    return build_library(source, out, load_body())
