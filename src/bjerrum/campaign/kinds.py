"""The kinds of steps that campaigns are made of. Raise a version when its results change."""

from __future__ import annotations

from typing import Final

from bjerrum.graph import Kind

_PREPARATION, _LEARNING, _MEASURING, _THERMODYNAMICS = (
    f"bjerrum.campaign.{name}"
    for name in ("preparation", "learning", "measuring", "thermodynamics")
)

BUILD_BOX: Final = Kind("build_box", 1, f"{_PREPARATION}:build_box", "atom ps")
SAMPLE_CLASSICAL: Final = Kind("sample_classical", 1, f"{_PREPARATION}:sample_classical", "atom ps")
SAMPLE_R2SCAN: Final = Kind("sample_r2scan", 1, f"{_PREPARATION}:sample_r2scan", "squared atoms ps")
CHOOSE_FRAMES: Final = Kind("choose_frames", 1, f"{_PREPARATION}:choose_frames", "frames")
LABEL_CLASSICAL: Final = Kind("label_classical", 1, f"{_PREPARATION}:label_frames", "atom frames")
LABEL_R2SCAN: Final = Kind(
    "label_r2scan", 1, f"{_PREPARATION}:label_frames", "powered atoms calculations"
)
LABEL_DC_R2SCAN: Final = Kind(
    "label_dc_r2scan", 1, f"{_PREPARATION}:label_frames", "powered atoms calculations"
)
COLLECT_LABELS: Final = Kind("collect_labels", 1, f"{_PREPARATION}:collect_labels", "atom frames")
TRAIN_MEMBER: Final = Kind(
    "train_member", 1, f"{_LEARNING}:train_member", "atom weight frames", needs_gpu=True
)
MAKE_COMMITTEE: Final = Kind("make_committee", 1, f"{_LEARNING}:make_committee", "members")
EXPLORE_ROUND: Final = Kind("explore_round", 2, f"{_LEARNING}:explore_round", "atom weight steps")
CHECK_MODEL: Final = Kind("check_model", 1, f"{_MEASURING}:check_model", "atom weights")
SIMULATE_MODEL: Final = Kind(
    "simulate_model", 3, f"{_MEASURING}:simulate_model", "atom weight steps"
)
SIMULATE_CLASSICAL: Final = Kind(
    "simulate_classical", 1, f"{_PREPARATION}:sample_classical", "atom ps"
)
COARSEN_SALT: Final = Kind("coarsen_salt", 2, f"{_THERMODYNAMICS}:coarsen_salt", "atom frames")
SOLVE_SALT: Final = Kind("solve_salt", 2, f"{_THERMODYNAMICS}:solve_salt", "theory points")
MEASURE_STRUCTURE: Final = Kind(
    "measure_structure", 2, f"{_MEASURING}:measure_structure", "squared atoms frames"
)
MEASURE_TRANSPORT: Final = Kind(
    "measure_transport", 1, f"{_MEASURING}:measure_transport", "atom frames"
)
MEASURE_KIRKWOOD_BUFF: Final = Kind(
    "measure_kirkwood_buff", 1, f"{_MEASURING}:measure_kirkwood_buff", "squared atoms frames"
)
MEASURE_PAIRING: Final = Kind(
    "measure_pairing", 2, f"{_MEASURING}:measure_pairing", "squared atoms frames"
)
MEASURE_FORCE_ERROR: Final = Kind(
    "measure_force_error", 1, f"{_LEARNING}:measure_force_error", "atom weight frames"
)

KINDS: Final = {
    kind.name: kind
    for kind in (
        BUILD_BOX,
        SAMPLE_CLASSICAL,
        SAMPLE_R2SCAN,
        CHOOSE_FRAMES,
        LABEL_CLASSICAL,
        LABEL_R2SCAN,
        LABEL_DC_R2SCAN,
        COLLECT_LABELS,
        TRAIN_MEMBER,
        MAKE_COMMITTEE,
        EXPLORE_ROUND,
        CHECK_MODEL,
        SIMULATE_MODEL,
        SIMULATE_CLASSICAL,
        COARSEN_SALT,
        SOLVE_SALT,
        MEASURE_STRUCTURE,
        MEASURE_TRANSPORT,
        MEASURE_KIRKWOOD_BUFF,
        MEASURE_PAIRING,
        MEASURE_FORCE_ERROR,
    )
}
MEASUREMENTS: Final = {
    "structure": MEASURE_STRUCTURE,
    "transport": MEASURE_TRANSPORT,
    "kirkwood-buff": MEASURE_KIRKWOOD_BUFF,
    "pairing": MEASURE_PAIRING,
}
SAMPLINGS: Final = {"classical": SAMPLE_CLASSICAL, "r2scan": SAMPLE_R2SCAN}
LABELS: Final = {
    "classical": LABEL_CLASSICAL,
    "r2scan": LABEL_R2SCAN,
    "dc-r2scan": LABEL_DC_R2SCAN,
}
