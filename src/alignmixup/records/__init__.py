"""The JSON files that commands write about runs, and reading them: what has another form is refused in one line.

What is measured is written with a checksum of all of it, so that no flipped bit is read as another number. A file
without one, of an older version or written by hand, is read as it is. Imports no torch.
"""

from alignmixup.records.readers import (
    EVALUATION_FILE,
    RECORD_FORMAT,
    each_record,
    last_ten,
    read_evaluation,
    read_localization,
    read_record,
    read_records,
    read_results,
    read_style_description,
)
from alignmixup.records.sealing import read_json, sealed, write_sealed

__all__ = [
    "EVALUATION_FILE",
    "RECORD_FORMAT",
    "each_record",
    "last_ten",
    "read_evaluation",
    "read_json",
    "read_localization",
    "read_record",
    "read_records",
    "read_results",
    "read_style_description",
    "sealed",
    "write_sealed",
]
