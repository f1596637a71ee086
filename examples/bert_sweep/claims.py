"""Patent-like claims, made by a grammar: what there is to train on where nobody brings a corpus.

A patent has a field, and the field decides its class, its parts, its materials and what is measured in it.
Each part has a reference number that stays the same through all claims; claims refer to claims before
them; a quantity goes with its unit and a range goes up. So a masked word can be told from the words around
it, some from the next word, some only from a claim before: loss falls for real reasons, and wider, deeper
and longer models have something to gain.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class _Field:
    code: str
    things: tuple[str, ...]
    purposes: tuple[str, ...]
    parts: tuple[str, ...]
    materials: tuple[str, ...]
    measures: tuple[tuple[str, str, int, int], ...]


_FIELDS = (
    _Field(
        "H01M",
        ("battery module", "electrochemical cell", "fuel cell stack"),
        ("storing electric energy", "powering a vehicle", "buffering a grid"),
        (
            "housing",
            "anode",
            "cathode",
            "separator",
            "electrolyte",
            "terminal",
            "vent",
            "busbar",
            "cooling plate",
        ),
        ("lithium iron phosphate", "graphite", "aluminium", "polypropylene"),
        (
            ("voltage", "volts", 2, 400),
            ("capacity", "ampere hours", 1, 200),
            ("thickness", "micrometres", 5, 90),
        ),
    ),
    _Field(
        "F16H",
        ("gear train", "planetary transmission", "harmonic drive"),
        ("transmitting torque", "reducing a speed of rotation", "driving a robot joint"),
        (
            "sun gear",
            "ring gear",
            "carrier",
            "shaft",
            "bearing",
            "clutch",
            "output flange",
            "lubricant channel",
        ),
        ("hardened steel", "bronze", "sintered iron", "ceramic"),
        (
            ("torque", "newton metres", 5, 900),
            ("ratio", "turns", 3, 160),
            ("diameter", "millimetres", 8, 300),
        ),
    ),
    _Field(
        "A61B",
        ("surgical instrument", "endoscope", "patient monitor"),
        ("cutting tissue", "viewing a body cavity", "measuring a pulse"),
        ("handle", "probe", "sensor", "lens", "light guide", "catheter", "electrode", "display"),
        ("titanium", "silicone", "medical grade polymer", "glass fibre"),
        (
            ("frequency", "hertz", 1, 500),
            ("length", "millimetres", 20, 1500),
            ("pressure", "kilopascals", 1, 60),
        ),
    ),
    _Field(
        "G06N",
        ("computing system", "accelerator", "inference device"),
        ("training a neural network", "classifying documents", "predicting a demand"),
        (
            "processor",
            "memory",
            "interconnect",
            "scheduler",
            "register file",
            "decoder",
            "cache",
            "interface",
        ),
        ("silicon", "gallium nitride", "copper", "a low loss dielectric"),
        (("bandwidth", "gigabytes per second", 10, 900), ("latency", "nanoseconds", 1, 800)),
    ),
    _Field(
        "B01D",
        ("filter assembly", "distillation column", "membrane module"),
        ("purifying water", "separating a solvent", "removing particles from air"),
        ("inlet", "outlet", "membrane", "cartridge", "pump", "valve", "tank", "heating coil"),
        ("activated carbon", "stainless steel", "polysulfone", "zeolite"),
        (("flow rate", "litres per minute", 1, 300), ("pore size", "nanometres", 10, 900)),
    ),
    _Field(
        "H04W",
        ("base station", "user terminal", "relay node"),
        ("allocating a radio resource", "handing over a connection", "saving power"),
        ("antenna", "transmitter", "receiver", "controller", "amplifier", "filter", "buffer", "oscillator"),
        ("copper", "a ceramic substrate", "gallium arsenide", "ferrite"),
        (
            ("bandwidth", "megahertz", 5, 400),
            ("power", "milliwatts", 10, 900),
            ("interval", "milliseconds", 1, 160),
        ),
    ),
)
_RELATIONS = ("coupled to", "arranged above", "enclosed by", "in fluid communication with", "mounted on")
_ACTIONS = ("receives", "supports", "surrounds", "actuates", "is releasably fastened to")


def patents(n: int, seed: int = 0) -> list[str]:
    """Return the claims of so many patents; the same seed, the same claims."""
    return [_patent(random.Random(f"{seed}/{number}")) for number in range(n)]  # noqa: S311 - no secret


def _patent(draw: random.Random) -> str:
    field = draw.choice(_FIELDS)
    thing = draw.choice(field.things)
    parts = draw.sample(field.parts, draw.randint(4, min(7, len(field.parts))))
    step = draw.choice((2, 10))
    refs = {part: 100 + step * place for place, part in enumerate(parts)}
    claims = [_independent(draw, field, thing, refs)]
    claims += [_dependent(draw, field, thing, refs, number) for number in range(2, draw.randint(5, 9))]
    return f"{field.code} {draw.randint(1, 60)}/{draw.randint(1, 40):02d}. " + " ".join(claims)


def _named(part: str, refs: dict[str, int], article: str = "the") -> str:
    article = "an" if article == "a" and part[0] in "aeio" else article
    return f"{article} {part} ({refs[part]})"


def _independent(draw: random.Random, field: _Field, thing: str, refs: dict[str, int]) -> str:
    parts = list(refs)
    lines = [_named(parts[0], refs, "a")]
    for place, part in enumerate(parts[1:], start=1):
        earlier = parts[draw.randrange(place)]
        lines.append(f"{_named(part, refs, 'a')} {draw.choice(_RELATIONS)} {_named(earlier, refs)}")
    one, other = draw.sample(parts, 2)
    article = "An" if thing[0] in "aeio" else "A"
    return (
        f"1. {article} {thing} for {draw.choice(field.purposes)}, comprising: {'; '.join(lines)}; "
        f"wherein {_named(one, refs)} {draw.choice(_ACTIONS)} {_named(other, refs)}."
    )


def _dependent(draw: random.Random, field: _Field, thing: str, refs: dict[str, int], number: int) -> str:
    head = f"{number}. The {thing} of claim {draw.randint(1, number - 1)}, wherein"
    one, other = draw.sample(list(refs), 2)
    kind = draw.choice(("material", "measure", "action", "portion"))
    if kind == "material":
        return f"{head} {_named(one, refs)} is made of {draw.choice(field.materials)}."
    if kind == "measure":
        measure, unit, least, most = draw.choice(field.measures)
        low = draw.randint(least, most - 1)
        high = draw.randint(low + 1, most)
        return f"{head} {_named(one, refs)} has a {measure} of {low} to {high} {unit}."
    if kind == "action":
        return f"{head} {_named(one, refs)} {draw.choice(_ACTIONS)} {_named(other, refs)}."
    sub = f"{draw.choice(('first', 'second', 'inner', 'outer'))} {one} portion"
    number_of_sub = refs[one] + 1
    return (
        f"{head} {_named(one, refs)} further comprises a {sub} ({number_of_sub}) "
        f"{draw.choice(_RELATIONS)} {_named(other, refs)}, and the {sub} ({number_of_sub}) "
        f"{draw.choice(_ACTIONS)} {_named(one, refs)}."
    )
