"""What can be set, by options at the start and by /_control/ later."""

import dataclasses


@dataclasses.dataclass
class Limits:
    """The limits of one call; /_control/limits changes them."""

    max_records: int = 500
    max_record_bytes: int = 1_024_000
    max_call_bytes: int = 4 * 1024 * 1024


@dataclasses.dataclass
class Settings:
    """Everything else; fixed after the start."""

    region: str = "us-east-1"
    account: str = "123456789012"
    strict_streams: bool = False
    verify_signature: bool = True
    short_record_ids: bool = False
    encrypted: bool = False
    journal_data: str = "full"      # full | hash | none
    quiet: bool = False
