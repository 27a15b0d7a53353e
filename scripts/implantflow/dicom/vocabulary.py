"""Text that may leave a header: words of closed lists; anything else becomes a token that still compares.

A field meant for a scanner's model can hold a patient's name, typed there by hand or by a converter. So no text
passes because of the field it stands in, only because of what it says.
"""

from __future__ import annotations

import hashlib
import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Part of the text in lower case -> what is written.
MANUFACTURERS = {
    "siemens": "Siemens",
    "ge medical": "GE",
    "ge healthcare": "GE",
    "philips": "Philips",
    "toshiba": "Toshiba",
    "canon": "Canon",
    "hitachi": "Hitachi",
    "fujifilm": "Fujifilm",
    "neusoft": "Neusoft",
    "united imaging": "United Imaging",
    "uih": "United Imaging",
    "shimadzu": "Shimadzu",
    "neurologica": "NeuroLogica",
    "esaote": "Esaote",
    "nikon": "Nikon",
    "zeiss": "Zeiss",
    "waygate": "Waygate",
    "implantflow": "implantflow",
}

#: Words of scanner names.
MODEL_WORDS = _words(
    """achieva activion aera alexion alpha ambition aquilion artis as as+ asteion avanto biograph
    brightspeed brilliance bravo cardiac ct cx definition discovery drive edge elan elition emotion
    flash force ge gemini go highspeed ict ingenia ingenuity intera lightspeed lumina magnetom mr mx
    naeotom one open optima optra panorama perspective plus prime prisma pro revolution scanner scenaria
    scintcare scope sensation signa simulated skyra sola somatom spectra spectral speed spirit supria
    symphony trio ultra verio vida vct volume voyager xpress"""
)

KERNEL_WORDS = _words(
    """BODY BONE BONEPLUS BRAIN CHEST DETAIL EDGE HEAD LUNG SHARP SMOOTH SOFT STANDARD STND ULTRA"""
)

#: Siemens (B40s, Br40d, H31f, Qr40; a strength after it), Toshiba and Canon (FC08, FC18-H), Philips (one letter).
KERNEL_PATTERN = re.compile(
    r"(B|H|U|D|T|S|I|J|Q|Br|Bl|Bv|Bf|Hr|Hv|Hf|Hc|Ur|Qr|Sa|Sc|Tr)[0-9]{2}[a-z]?(\\[1-5])?|FC[0-9]{2}(-H)?|[A-E]"
)

#: Modalities of what lies in a patient's folder (PS3.3 C.7.3.1.1.1), images and others.
MODALITIES = _words(
    """CT MR PT NM US CR DX XA RF MG IO OT SC SEG SR PR KO REG M3D DOC RTSTRUCT RTDOSE RTPLAN RTIMAGE"""
)

IMAGE_TYPE_WORDS = _words(
    """ORIGINAL DERIVED PRIMARY SECONDARY MIXED AXIAL LOCALIZER VOLUME RESAMPLED REFORMATTED MPR MIP MINIP
    AVERAGE PROJECTION IMAGE MAX_IP MIN_IP SURVEY CSA M R I P PHASE MAGNITUDE NORM ND DIS2D DIS3D FFE IR
    SE T1 T2 OTHER NONE ADD SUB FILTERED M_FFE M_SE M_IR PHASE_MAP DIFFUSION ADC FAT WATER IN_PHASE
    OUT_PHASE"""
)

PHOTOMETRIC = _words(
    """MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_PARTIAL_420 YBR_ICT YBR_RCT HSV ARGB CMYK"""
) | {"PALETTE COLOR"}

RESCALE_TYPES = _words("""HU HU_MOD ED US OD MGML Z_EFF MRI US_SPECIFIED normalized""")

_TOKEN_DIGITS = 4


def token(kind: str, text: str) -> str:
    """A word that is the same for the same text and tells nothing: 16 bits of its digest.

    Two different texts meet in one token once in 65,536; so many names share each that none can be told from it.
    """
    digest = hashlib.sha256(f"implantflow-token-1\x00{kind}\x00{text}".encode()).hexdigest()
    return f"{kind}-{digest[:_TOKEN_DIGITS]}"


def manufacturer(text: str) -> str:
    """The maker's name, from the closed list."""
    lower = text.casefold()
    return next((name for part, name in MANUFACTURERS.items() if part in lower), token("maker", text))


def model(text: str) -> str:
    """The scanner's name without any word that is not a scanner's, and with a token where one was left out."""
    words = text.split()
    known = [w for w in words if w.casefold() in MODEL_WORDS or re.fullmatch(r"[0-9]{1,3}[a-zA-Z+]?", w)]
    return " ".join(known if known == words else [*known, token("model", text)])


def kernel(text: str) -> str:
    """The name of a reconstruction kernel as scanners write them."""
    known = text.upper() in KERNEL_WORDS or KERNEL_PATTERN.fullmatch(text)
    return text if known else token("kernel", text)


def modality(text: str) -> str:
    """One of the modalities DICOM defines; "OTHER" for what is none."""
    return text if not text or text in MODALITIES else "OTHER"


def image_type(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Values of ImageType or FrameType, each a known word or a token."""
    return tuple(
        part if all(word in IMAGE_TYPE_WORDS for word in part.split()) else token("type", part)
        for part in parts
    )


def photometric(text: str) -> str:
    """A photometric interpretation that DICOM defines; a token for what is none."""
    return text if not text or text in PHOTOMETRIC else token("photometric", text)


def rescale_type(text: str) -> str:
    """What rescaled values are, as DICOM names it; a token for what is none."""
    return text if not text or text in RESCALE_TYPES else token("unit", text)


def number(text: str) -> str:
    """Text of a number that tells images apart (acquisition, phase, echo); a token when it is none."""
    return text if re.fullmatch(r"|-?[0-9]{1,4}(\.[0-9]{1,4})?", text) else token("number", text)


def patient_position(text: str) -> str:
    """One of the positions DICOM defines (PS3.3 C.7.3.1.1.2), "" when it is none."""
    return text if re.fullmatch(r"(HF|FF|LF|RF|AF|PF)(P|S|DR|DL)", text) else ""


def scanning_sequence(text: str) -> str:
    r"""MR pulse sequences as DICOM names them (PS3.3 C.8.3.1), several joined by ``\``; "" when one is none."""
    return text if all(part in ("SE", "IR", "GR", "EP", "RM") for part in text.split("\\")) else ""
