from __future__ import annotations

from pathlib import Path

import programs
import pytest
import tiny_palette
from tokenizers import Tokenizer, normalizers

from edgedistill.errors import InputError
from edgedistill.palette import load

PROGRAM = "private/redact.py"
LETTER = b"  turn on\nthe lamp music\n\n \nset a timer, lamp\n"
REDACTED = b"  turn on\nthe [thing]\n\n \nset a [place], [thing]\n"


def test_the_text_is_printed_without_its_entities(tagger: Path) -> None:
    done = programs.run(PROGRAM, tagger, stdin=LETTER)
    assert (done.returncode, done.stdout) == (0, REDACTED)
    assert done.stderr.endswith(b"redacted: 2 thing, 1 place\n")


def test_what_the_tokenizer_drops_is_masked(tmp_path: Path) -> None:
    """A name in tag characters, and one in a font's private characters; and a byte-order mark is no text."""
    folder = tiny_palette.write(tmp_path / "palette", tiny_palette.TAGGED)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    tags, private = ("".join(chr(plane + ord(letter)) for letter in "John") for plane in (0xE0000, 0xE000))
    letter = f"\ufeffthe lamp {tags}\n\nturn {private} on"
    done = programs.run(PROGRAM, tiny_palette.reseal(folder), stdin=letter.encode())
    assert (done.returncode, done.stdout) == (0, b"the [thing][unread]\n\nturn [unread] on")
    assert done.stderr.endswith(b"redacted: 1 thing, 2 unread\n")


def test_a_command_is_handed_the_text_and_nothing_else_and_its_status_is_kept(tagger: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = programs.run(PROGRAM, "--min-quality", 0.6, tagger, "sh", "-c", f"cat > {out}; exit 7", stdin=LETTER)
    assert (done.returncode, done.stdout, out.read_bytes()) == (7, b"", REDACTED)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LETTER + b"\n\n" + b"lamp " * (tiny_palette.MAX_TOKENS + 1), "paragraph 3: the text is longer"),
        (b"x" * 100_000, "paragraph 1: the text is longer"),
        (b"lamp \xff", "standard input is not UTF-8"),
        (LETTER + b"\n\n\x1c\x1d\n\n", "is empty"),
        (b" \n\n", "there is no text"),
        (b"", "there is no text"),
    ],
)
def test_a_text_that_cannot_be_read_whole_does_not_leave(tagger: Path, tmp_path: Path, text: bytes, says: str) -> None:
    out = tmp_path / "out"
    done = programs.run(PROGRAM, tagger, "tee", out, stdin=text)
    programs.one_line(done, says)
    assert done.stdout == b""
    assert not out.exists()


def test_only_subnets_of_the_quality_asked_for_may_serve(tagger: Path) -> None:
    good_enough = programs.module(PROGRAM).good_enough
    assert good_enough(load(tagger), 0.9) == ["large"]
    assert good_enough(load(tagger), 0.7) == ["large", "middle"]
    with pytest.raises(InputError, match=r"no subnet has a quality of 0.99"):
        good_enough(load(tagger), 0.99)


def test_what_cannot_be_used_is_refused_in_one_line(palette: Path, tagger: Path) -> None:
    programs.one_line(programs.run(PROGRAM, palette, stdin=LETTER), "the palette is for text-classification")
    programs.one_line(programs.run(PROGRAM, tagger, "no-such-command", stdin=LETTER), "no-such-command")
