"""Checks of the exercises on chapter 07b, cleaning data. References: sets of Python, counting, and brute force."""

from itertools import combinations

from ...exercises.core import check
from ...exercises.task import Task
from ...kit.language import say

_WORDS = ("river", "stone", "kite", "bread", "lamp", "cloud", "door", "bell", "fox", "rain", "hill", "boat")


def _sentence(task: Task, words: int) -> list[str]:
    return [_WORDS[task.number(0, len(_WORDS))] for _ in range(words)]


@check("07b.repeats", points=1)
def check_share_of_repeats(task: Task) -> str:
    """The share of a text that was said before"""
    line, other = " ".join(_sentence(task, 4)), "a line of its own, number " + str(task.number(10, 99))
    cases = {
        "a text in which no line comes twice": [line + "!", other],
        "a line that comes three times, and another": [line, other, line, line],
        "two lines that come twice, of different lengths": [line, other, other, "x", line],
        "empty lines between others": [line, "", other, "", "", line],
        "lines that differ only in spaces at their ends": [line, f"  {line} ", other],
    }
    for name, lines in cases.items():
        case = say(name)
        got = task.call("\n".join(lines))
        task.that(isinstance(got, (int, float)), "return one number, a share from 0 to 1")
        units = [one.strip() for one in lines if one.strip()]
        total = sum(map(len, units))
        counts = {one: units.count(one) for one in units}
        right = sum(len(one) * (count - 1) for one, count in counts.items()) / total
        every = sum(len(one) * count for one, count in counts.items() if count > 1) / total
        by_lines = (len(units) - len(counts)) / len(units)
        raw = {one: lines.count(one) for one in lines}
        unstripped = sum(len(one) * (count - 1) for one, count in raw.items()) / max(1, sum(map(len, lines)))
        task.equal(float(got), right, say("{case}: {right} of its characters were said before, you said {got}",
                                          case=case, right=f"{right:.3f}", got=f"{got:.3f}"), {
            say("{case}: the first time a line is said it is new. Count only its later ones", case=case): every,
            say("{case}: that is a share of lines; wanted is one of characters, so long lines weigh more",
                case=case): by_lines,
            say("{case}: that is what is new, not what was said before", case=case): 1 - right,
            say("{case}: those are percent; wanted is a share from 0 to 1", case=case): 100 * right,
            say("{case}: spaces at the ends of a line make no new line: strip it first", case=case): unstripped,
            say("{case}: a line that comes often counts once for each time after the first", case=case):
                sum(len(one) for one, count in counts.items() if count > 1) / total,
        })  # fmt: skip
    task.equal(float(task.call(" \n\n")), 0.0, "a text without any line has nothing that was said before: 0")
    return "every character counts that was said before, and the first time is free"


@check("07b.jaccard", points=1)
def check_jaccard(task: Task) -> str:
    """How alike two texts are, by their pieces"""
    word = _WORDS[task.number(0, len(_WORDS))]
    cases = {
        "two texts with repeated pieces": ("the boat boat boat is at home all day", "one boat boat is at home", 5),
        "a text and itself": ("the old house", "the old house", 4),
        "two texts with nothing in common": ("aaaabbbb", "ccccdddd", 3),
        "two texts that begin and end differently": (f"the {word} sleeps all day long", f"one {word} sleeps", 5),
        "a text and one with a word more": (f"the {word} sleeps", f"the {word} sleeps again", 5),
        "a text that says the same again and again": ("ha" * 8, "haha!", 2),
        "pieces of one character": (word, word + "zz", 1),
    }
    for name, (first, second, size) in cases.items():
        got, case = task.call(first, second, size), say(name)
        task.that(isinstance(got, (int, float)), "return one number from 0 to 1")
        a, b = ({text[i : i + size] for i in range(len(text) - size + 1)} for text in (first, second))
        right = len(a & b) / len(a | b)
        task.equal(float(got), right, say("{case}, pieces of {size}: J is {right}, you said {got}",
                                          case=case, size=size, right=f"{right:.3f}", got=f"{got:.3f}"),
                   _jaccard_mistakes(case, first, second, size))  # fmt: skip
    return "common pieces divided by pieces in either, each counted once"


def _jaccard_mistakes(case: str, first: str, second: str, size: int) -> dict[str, float]:
    """What people's similarities give for two texts."""
    lists = [[text[i : i + size] for i in range(len(text) - size + 1)] for text in (first, second)]
    a, b = map(set, lists)
    words = [set(text.split()) for text in (first, second)]
    steps = [{text[i : i + size] for i in range(0, len(text), size)} for text in (first, second)]
    short = [{text[i : i + size] for i in range(len(text) - size)} for text in (first, second)]
    return {
        say("{case}: divided by the pieces of both added up, which counts the common ones twice", case=case):
            len(a & b) / (len(a) + len(b)),
        say("{case}: divided by the smaller text's pieces; J divides by the pieces in either", case=case):
            len(a & b) / min(len(a), len(b)),
        say("{case}: that is the share of the first text's pieces; J is the same from both sides", case=case):
            len(a & b) / len(a),
        say("{case}: every piece counts once, however often it comes: use sets", case=case):
            sum(one in b for one in lists[0]) / len(lists[0] + lists[1]),
        say("{case}: those are pieces that do not overlap; a letter put in front would change all of them", case=case):
            len(steps[0] & steps[1]) / len(steps[0] | steps[1]),
        say("{case}: those are words; pieces are of {size} characters, so that it works for Chinese too",
            case=case, size=size): len(words[0] & words[1]) / len(words[0] | words[1]),
        say("{case}: the last piece is missing: it begins at len(text) - size", case=case):
            len(short[0] & short[1]) / max(1, len(short[0] | short[1])),
        say("{case}: that is the distance, 1 - J", case=case): 1 - len(a & b) / len(a | b),
    }  # fmt: skip


@check("07b.minhash", points=2)
def check_signature(task: Task) -> str:
    """A MinHash signature, and what it estimates"""
    prime = 2_147_483_647
    for size, count in ((3, 4), (30, 8), (1, 3)):
        numbers = {task.number(0, 2**31 - 1) for _ in range(size)}
        functions = [(task.number(1, prime), task.number(0, prime)) for _ in range(count)]
        got = task.call(numbers, functions, prime)
        case = say("{pieces} pieces, {count} hash functions", pieces=len(numbers), count=count)
        task.that(isinstance(got, (list, tuple)), "return a list with one number for each hash function")
        table = [[(a * x + b) % prime for x in sorted(numbers)] for a, b in functions]
        right = [min(row) for row in table]
        columns = [min(column) for column in zip(*table, strict=True)]
        task.that(len(got) != len(columns) or list(got) != columns or columns == right, say("{case}: that is the "
                      "smallest number of each piece, not the smallest of each function", case=case))  # fmt: skip
        task.that(len(got) == count, say("{case}: {count} numbers; wanted is one for each function, the smallest of "
                      "all pieces", case=case, count=len(got)))  # fmt: skip
        task.equal(list(got), right, say("{case}: not the smallest of (a · x + b) mod p over the pieces", case=case), {
            say("{case}: those are the largest; both would estimate J, but all texts have to keep the same one",
                case=case): [max(row) for row in table],
            say("{case}: the remainder is missing: a · x + b alone orders the pieces alike under every function",
                case=case): [min(a * x + b for x in numbers) for a, b in functions],
            say("{case}: the smallest piece is hashed; hash all of them, then take the smallest", case=case):
                [(a * min(numbers) + b) % prime for a, b in functions],
            say("{case}: those are the pieces that have the smallest hash; keep the hash itself", case=case):
                [min(numbers, key=lambda x: (a * x + b) % prime) for a, b in functions],
            say("{case}: a and b are swapped", case=case):
                [min((b * x + a) % prime for x in numbers) for a, b in functions],
            say("{case}: the first function for all: each row has its own a and b", case=case): [right[0]] * count,
        })  # fmt: skip
    return "one smallest number for each hash function, so two texts agree in a share J of them"


@check("07b.bands", points=3)
def check_candidates(task: Task) -> str:
    """Candidate pairs from bands"""
    for texts, rows, bands, largest in ((6, 2, 3, 3), (8, 3, 2, 2), (5, 1, 4, 4)):
        signatures = [[task.number(0, largest) for _ in range(rows * bands)] for _ in range(texts)]
        twice = 2 if bands > 2 else 1
        signatures[1] = [9] * rows * twice + [7] * rows * (bands - twice)  # 1 and 2 share two bands, or one
        signatures[2] = [9] * rows * twice + [8] * rows * (bands - twice)
        signatures[3] = [3] * rows + [6] * rows * (bands - 1)  # the first band of 4 is one of 3's, but not its first
        signatures[4] = [6] * rows + [5] * rows * (bands - 1)
        signatures[-1][-rows:] = signatures[0][-rows:] = [4] * rows  # the first and the last text share the last band
        pairs = list(combinations(range(texts), 2))
        cut = [[tuple(one[k * rows : (k + 1) * rows]) for k in range(bands)] for one in signatures]
        right = {(i, j) for i, j in pairs if any(a == b for a, b in zip(cut[i], cut[j], strict=True))}
        got = task.call(signatures, rows)
        case = say("{texts} signatures of {value} numbers, {rows} a band", texts=texts, value=rows * bands, rows=rows)
        task.that(isinstance(got, (set, list)) and all(isinstance(one, tuple) and len(one) == 2 for one in got),
                  "return a set of pairs (i, j) of places in the list")  # fmt: skip
        task.that(all(i != j for i, j in got), say("{case}: a text is no candidate for itself", case=case))
        task.that(all(i < j for i, j in got), say("{case}: put the smaller number first, so that each pair is there "
                      "once", case=case))  # fmt: skip
        task.that(len(set(got)) == len(got), say("{case}: a pair that shares two bands is still one pair: use a set",
                      case=case))  # fmt: skip
        found = set(got)
        some = {(i, j) for i, j in pairs if set(signatures[i]) & set(signatures[j])}
        single = {(i, j) for i, j in pairs if any(a == b for a, b in zip(signatures[i], signatures[j], strict=True))}
        mixed = {(i, j) for i, j in pairs if set(cut[i]) & set(cut[j])}
        everywhere = {(i, j) for i, j in pairs if cut[i] == cut[j]}
        for wrong, message in (
            (everywhere, "only pairs whose signatures agree as a whole: one band is enough"),
            ({(i, j) for i, j in pairs if cut[i][0] == cut[j][0]}, "only the first band was looked at"),
            (mixed, "a band was matched with another band of the other text: every band has buckets of its own"),
            (single, "one number in common is not enough: a whole band must agree"),
            (some, "numbers were compared wherever they stand: a number means something only at its place"),
        ):
            task.that(found != wrong or wrong == right, say("{case}: {reason}", case=case, reason=say(message)))
        missing, extra = len(right - found), len(found - right)
        task.that(not missing, say("{case}: {missing} of {count} candidates are missing. Is the last band read, and "
                      "do more than two texts in one bucket make all of their pairs?", case=case,
                      missing=missing, count=len(right)))  # fmt: skip
        task.that(not extra, say("{case}: {extra} pairs share no band. Do the bands overlap?", case=case, extra=extra))
    return "exactly the pairs that share a bucket in some band, and none compared for it"


@check("07b.exam", points=2)
def check_holds_question(task: Task) -> str:
    """Does a text hold an exam's question?"""
    question = [f"q{task.number(0, 9)}w{place}" for place in range(9)]
    before, after = _sentence(task, 5), _sentence(task, 4)
    changed = [*question[:4], "other", *question[5:]]
    apart = [word for pair in zip(question, [*before, *after], strict=True) for word in pair]
    cases: list[tuple[str, list[str], list[str], int, bool, str]] = [
        ("the question in the middle of a text", [*before, *question, *after], question, 5, True,
         "look at every place of the text, not only its beginning"),
        ("the question at the very end", [*before, *question], question, 9, True,
         "the last run begins at len(text) - n: did the loop stop one too early?"),
        ("another text", [*before, *after], question, 5, False, "nothing is in common"),
        ("the question's first words alone", [*before, *question[:5], *after], question, 5, True,
         "a run of n words is enough, the question need not be there as a whole"),
        ("a run from inside the question", [*before, *question[2:7], *after], question, 5, True,
         "any run of n words of the question counts, not only its first"),
        ("one word in the middle changed, n = 5", changed, question, 5, False,
         "no five neighbouring words are the same"),
        ("one word in the middle changed, n = 4", changed, question, 4, True, "four neighbouring words are the same"),
        ("the same words with others between", apart, question, 4, False,
         "the words are all there, but nowhere four of them in a row"),
        ("the same words the other way round", question[::-1], question, 4, False, "the order of the words counts"),
        ("a question shorter than n, whole", [*before, *question[:3], *after], question[:3], 5, True,
         "a question with fewer than n words counts if all of it is there"),
        ("a text shorter than n with a part of the question", question[:3], question, 5, False,
         "three words are no run of five, and the question is longer than the text"),
        ("the beginning of a short question", [*before, *question[:2]], question[:3], 5, False,
         "a short question has to be there as a whole"),
    ]  # fmt: skip
    for case, text, asked, length, right, why in cases:
        got = task.call(text, asked, length)
        task.that(isinstance(got, bool), "return True or False")
        task.that(got == right, say("{case}: the answer is {right}: {why}", case=say(case), right=right, why=say(why)))
    return "runs anywhere in the text, short questions as a whole, and no false alarm"
