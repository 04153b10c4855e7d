"""About an evaluation: what was scored, on which data, and what makes its figures say less than they seem to."""

import time
from pathlib import Path

from raysign import __version__, remote, store
from raysign.errors import RaysignError, in_line, some
from raysign.learn import bundle as bundles
from raysign.learn.bundle import Bundle
from raysign.learn.ensemble import Ensemble
from raysign.learn.history import read_metrics
from raysign.schema import SPLITS


def epochs_of(bundle_dir: Path, bundle: Bundle | Ensemble) -> list[dict]:
    """Training's figures by epoch, where its folder is still there."""
    folder = bundles.training_of(bundle_dir, bundle.card.get("training"))
    return read_metrics(folder) if folder else []


def facts(
    bundle_dir: Path, bundle: Bundle | Ensemble, card: dict, split: str, views: str = ""
) -> list[tuple[str, str]]:
    """What was scored, as names and values. views: what the answers are the mean of."""
    rows = [
        ("bundle", str(bundle_dir)),
        ("clips", card["key"]),
        ("split", f"{split}, divided by {card.get('split', {}).get('kind', '?')}"),
        ("answers", views),
        *(_of_ensemble(bundle) if isinstance(bundle, Ensemble) else _of_bundle(bundle)),
        ("raysign", f"{__version__}, {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC"),
    ]
    return [(name, value) for name, value in rows if value]


def _of_ensemble(bundle: Ensemble) -> list[tuple[str, str]]:
    return [
        (f"member {i}", f"{name}, weight {weight:.3f}")
        for i, (name, weight) in enumerate(zip(bundle.names, bundle.weights, strict=True))
    ]


def _of_bundle(bundle: Bundle) -> list[tuple[str, str]]:
    best = bundle.card.get("metrics") or {}
    kept = ", ".join(f"{name} {best[name]:.3f}" for name in sorted(best) if name.startswith("val/"))
    trained = f"epoch {bundle.card.get('epoch', '?')} of {bundle.config.train.epochs}" + (f" ({kept})" if kept else "")
    if "imported" in bundle.card:
        trained = "elsewhere: {file}, sha256 {sha256}".format(**bundle.card["imported"])
    recipe = f"{bundle.config.prepare.kind}, {bundle.skeleton.points} points of {in_line(bundle.channels)}"
    weights = sum(p.numel() for p in bundle.network.parameters())
    return [("trained", trained), ("recipe", recipe), ("model", f"{bundle.config.model.kind}, {weights:,} weights")]


def data(card: dict) -> dict:
    """What the clips are, as html.page has it."""
    counts, lengths = card["counts"], card.get("lengths")
    of_each = {
        split: [_of(card, name, split) for name in ("signer", "gloss")]
        for split in SPLITS
        if split in counts.get("split", {})
    }
    splits = [
        {"split": split, "clips": counts["split"][split], "signers": _known(signers), "glosses": len(glosses),
         "fewest": min(glosses.values())}
        for split, (signers, glosses) in of_each.items()
    ]  # fmt: skip
    left_out = (f"{count} ({reason})" for reason, count in card["dropped"].items() if reason != "quarantined")
    rows = [
        *((f"signers, {split}", some(signers, 12)) for split, (signers, _) in of_each.items()),
        ("frames of a clip", "{min} to {max}, in the middle {median}".format(**lengths) if lengths else ""),
        ("in quarantine", str(card["dropped"].get("quarantined", 0))),
        ("left out", "; ".join(left_out) or "none"),
        ("landmarks by", "; ".join(card.get("extractor", []))),
        ("from", _source(card)),
    ]
    return {"splits": splits, "facts": [(name, value) for name, value in rows if value]}


def _known(signers: dict[str, int]) -> str:
    """How many signers there are, and whether clips do not say whose they are."""
    known = len(signers.keys() - {"unknown"})
    if "unknown" not in signers:
        return str(known)
    return f"{known} and unknown" if known else "unknown"


def _of(card: dict, column: str, split: str) -> dict[str, int]:
    """The clips that each signer or gloss has in a split, those with any."""
    return {name: row[split] for name, row in card["counts"].get(column, {}).items() if row.get(split)}


def _source(card: dict) -> str:
    """The kind and place of what the landmarks are of, as far as these are still there to tell."""
    try:
        made = store.read_card(remote.place(card["landmarks"])) or {}
    except (KeyError, RaysignError):
        return ""
    source = made.get("config", {}).get("source", {})
    return " ".join(str(source[name]) for name in ("kind", "path") if source.get(name))


def warnings(bundle: Bundle | Ensemble, card: dict, split: str) -> list[str]:
    """What makes the figures say less than they seem to."""
    found = [note[:1].upper() + note[1:] + "." for note in card.get("split", {}).get("notes", [])]
    tested = sum(1 for counts in card["counts"].get("gloss", {}).values() if counts.get(split))
    if tested < len(bundle.labels):
        found.append(f"Only {tested} of {len(bundle.labels)} glosses have a clip in {split}.")
    if dropped := sum(card["dropped"].values()):
        found.append(f"{dropped} clip(s) could not be used: see the card and the quarantine table.")
    if "imported" in bundle.card:
        return [*found, "The weights were trained elsewhere: whether these clips were among those is not known."]
    leaks = card.get("leaks", {}).get(split, {})
    if signers := leaks.get("signers"):
        who = some(signers, 8)
        found.append(f"Signers seen in training: {who}. Expect lower figures on people the recogniser has never seen.")
    if clips := leaks.get("clips"):
        found.append(f"{clips} pair(s) of equal clips, one in training and one here: the figures are too high.")
    by_signer = card.get("split", {}).get("kind") == "signer"  # one file may well hold the clips of many signers
    if (files := leaks.get("files")) and not by_signer:
        found.append(f"{files} file(s) with clips in training and here: neighbouring clips may be near copies.")
    if split == "train":
        found.append("These are the clips it was trained on: the figures say nothing of new ones.")
    elif split == "val":
        found.append("These clips chose the best epoch: figures on new ones will be a little lower.")
    known = {"clips": card["key"], "splits": card.get("splits")}  # the members of an ensemble have clips of their own
    if any(bundle.card.get(name) not in (None, value) for name, value in known.items()):
        found.append("The bundle was trained on other clips than these: whether the two overlap is not known.")
    return found
