"""Strings on which tokenizers go wrong: a fixed list, and generators that draw endless variations from a seed.

Only code points that Unicode 14 has assigned are drawn: libraries with older and newer tables agree on those.
"""
import random
import unicodedata

SPACES = ["\u0020", "\u00a0", "\u1680", "\u2000", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000",
          "\u0085", "\u000b", "\u000c", "\u001c", "\u180e", "\u200b", "\u2060", "\ufeff"]      # the last five are none
WORDS = ["the", "The", "THE", "and", "hello", "World", "na\u00efve", "re\u0301sume\u0301", "\u00fcber", "stra\u00dfe",
         "\u041f\u0440\u0438\u0432\u0435\u0442",
         "\u03ba\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1", "\u4f60\u597d", "\u65e5\u672c\u8a9e",
         "\u3053\u3093\u306b\u3061\u306f", "\ud55c\uad6d\uc5b4", "\u0928\u092e\u0938\u094d\u0924\u0947",
         "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "x1",
         "snake_case", "camelCase", "don't", "3rd", "e.g.", "U.S.A."]
SUFFIXES = ["s", "t", "re", "ve", "m", "ll", "d", "S", "T", "RE", "Ve", "M", "lL", "D", "x", "", "s's", "ll've", "em"]
EMOJI = ["\U0001f600", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
         "\U0001f1ee\U0001f1f3", "\U0001f1eb", "\u2764\ufe0f", "\u2764",
         "1\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
         "\U0001f9d1\U0001f3ff\u200d\U0001f52c", "\u2602\ufe0e", "\u00a9\ufe0f"]
RIGHT_TO_LEFT = ["\u05e9\u05bc\u05c1", "\ufb2a", "\u05d0\u05b8", "\u0627\u0653", "\u0622", "\u0644\u0627", "\ufefb", "\u0640",
                 "\u064e\u0651", "\u0651\u064e", "\u200f", "\u202b", "\u202c",
                 "\u2067", "\u2069", "\u0661\u0662", "\u06f3", "\u060c", "\u061f", "\u0729", "\u07ca"]
CODE = ["def f(x, *, y=None):\n    return x @ y.T\n", "for (int i = 0; i < n; ++i)\n\t{\n\t\tsum += a[i]*b[i];\n\t}\n",
        "if x == 1:\n\n\n        pass\n",
        "#include <stdio.h>\r\nint main(void) { return 0; }\r\n", "SELECT * FROM t WHERE a<>'b' AND c IS NOT NULL;",
        "let f = |x: &'a str| -> Result<(), E> { Ok(()) };",
        "<a href=\"https://example.org/?q=1&amp;r=%20#frag\">text</a>",
        "\\frac{\\partial^2 u}{\\partial x^2} \\leq \\alpha_{i,j}", "git log --oneline --graph -n10 | grep -v '^$'",
        "{\"key\": [1, 2.5e-3, null, true], \"n\\u00e9\": \"\\\"q\\\"\\\\\"}", "| a | b |\n|---|:-:|\n| 1 | **2** |\n",
        "0xDEADBEEF + 0b1010 - 1_000_000 // 7", "a->b->c[d](e)&&!f||g?h:i;",
        "C:\\Users\\me\\file.txt", "me@example.com, http://[::1]:8080/x", "\"\"\"Doc.\n\n    Args:\n        x: y\n    \"\"\"",
        "    - item\n      - sub\n\t- tab\n", "x\t\t# comment   \n\n\n\n"]
FIXED = ["", " ", "\n", "\t", "\r\n", "\0", "\0\0a", "a\0b", "\x7f", "\x80", "\x9f", "\xad", "\ufffd", "\ufffd\ufffd x",
         "\uffff", "\U0010ffff", "\ue000", "\U000f0000",
         "\u07ff\u0800", "\ud7fb\ue000", "\U00010000", "\u0120\u010a\u0109", "\u0120hello", "\u0100\u0143\u0142", "\xff\xfe",
         "\xc3\xa9", "\u00e9", "e\u0301", "E\u0301COLE", "\u212b", "A\u030a", "\u2126",
         "\ufb01\ufb03", "\u01c4", "\u1e9b\u0323", "q\u0307\u0323", "q\u0323\u0307", "\u0344", "\u0958", "\u0340\u0341\u0343",
         "\u0387", "\u1fef", "\u2adc", "\u0f43", "\U0002f800", "\uf900", "\U0001d15e",
         "\u1112\u1161\u11ab", "\u1100\u1161", "\uac00\u11a8", "\uac00\u11a7", "\uac01\u11a8", "\u1100\u1100\u1161",
         "\u1161\u11a8", "\u11a8", "\ua960\u1161", "\u1100\ud7b0", "\u3131\u314f",
         "\u0301", " \u0301", "\n\u0301", "\u0301\u0323\u0301", "e\u0323\u0302", "e\u0302\u0323", "\u1ec7", "\u0b47\u0b3e",
         "\u09c7\u09be", "\u30ab\u3099", "\uff76\uff9e", "\u0dd9\u0dcf\u0dca", "\u1b05\u1b35", "\u0cc6\u0cc2\u0cd5",
         "\u00b2", "x\u00b2+y\u00b3", "\u00bd cup", "\u2167", "\u2460\u2461", "\u3007\u4e8c", "\u0f33", "\u19da", "10\u00b2",
         "3\u00bd", "\u215f8", "\U0001d7d8\U0001d7d9", "\u0bf0", "\u1369\u1372",
         "I'm", "I'M", "I\u2019m", "'s", "''s", "'S's", "rock 'n' roll", "y'all'd've", "'re're", "'lla", " 'm", "'\u017f",
         "'t\u0301", "it'\ns", "O'Reilly's", "'''", "\u02bcs",
         "\\u00e9", "\\n\\t\\\"", "\"\\/\b\f\n\r\t", "\u2028\u2029", "</script>",
         "\U0001f600", "<unk>", "[UNK]", "<s></s>", "<0x41>", "\u2581x",
         "##ing",
         "a\u200bb", "a\u200db", "a\ufeffb", "\ufeffa", "a\u00a0b", "a \u00a0 b", "\u3000\u3000x", "a\u180eb",
         "a\u2028b\u2029c", "\x1c\x1d\x1e\x1f", "a\x0bb\x0cc", " \x85 ",
         "1,234,567.89", "$5.00", "-1e-5", "+49 (0)30 1234-567", "2024-02-29T23:59:60Z", "#### 42", "3*4=<<3*4=12>>12", "....",
         "?!?!", "\u2026", "\u2014\u2013-", "\u201cq\u201d\u2018x\u2019", "\u00ab \u00bb", "\u00bfqu\u00e9?", "_", "__init__",
         "a_b_1"]
LONG = [("a", 900), ("A", 333), (" ", 1000), ("\n", 500), ("\t", 300), ("=", 800), ("-", 257), ("0", 600), ("\u00e9", 120),
        ("e\u0301", 90), ("\u4e00", 100), ("\U0001f600", 60), ("\u0301", 80), ("\u3000", 90), (" a", 300), ("'s", 200),
        ("a ", 200),
        (" \n", 200), ("ab", 300), ("\u1100", 50), ("\0", 100), ("\u00a0", 120), ("!", 400), ("the", 200)]


def pool(*keep):
    """Code points assigned in Unicode 14 whose general category starts with one of `keep`."""
    return [chr(code) for code in range(0x110000)
            if unicodedata.category(chr(code)).startswith(keep) and unicodedata.category(chr(code)) not in ("Cn", "Cs")]


class Tricky:
    """Draws strings; `added` are the contents of the tokenizer's added tokens."""

    def __init__(self, seed, added):
        assert unicodedata.unidata_version == "14.0.0", "needs the Unicode 14 data of Python 3.11"
        self.random = random.Random(seed)
        self.added = [token for token in added if token.strip()]
        self.numbers, self.marks = pool("N"), pool("Mn", "Mc")
        self.everything = pool("L", "M", "N", "P", "S", "Z", "Cc", "Cf")
        self.rare = [char for char in self.everything       # without the large blocks of Chinese and Korean
                     if not "\u3400" <= char <= "\ud7a3" and not "\U00017000" <= char <= "\U0003134a"]
        self.kinds = [self.whitespace, self.accents, self.jamo, self.contractions, self.digits, self.emoji, self.bidi,
                      self.odd_spaces, self.added_tokens, self.code, self.raw_bytes, self.escapes, self.any_assigned,
                      self.ascii, self.exercise]

    def texts(self):
        """Endless: the fixed strings, the edges, the long runs, then each kind in turn."""
        yield from FIXED
        yield from self.edges()
        yield from (char * count for char, count in LONG)
        while True:
            for kind in self.kinds + [self.mixture, self.whitespace, self.added_tokens, self.any_assigned, self.ascii]:
                yield kind()

    def edges(self):
        """Every length of a run of spaces, alone and around a word, and every added token with company."""
        for run in (" " * count for count in range(1, 31)):
            yield from (run, run + "x", "x" + run + "y", "\n" + run, run + "\n" + run + "z", "\t" + run)
        for token in self.added:
            yield from (token, token + token, "a" + token + "b", " " + token + " ", token[0] + token, token + "\u0301",
                        token[1:], token[:-1], token.lower(), token.upper())

    # Small tools ------------------------------------------------------------------------------
    def one(self, *choices):
        return self.random.choice(choices[0] if len(choices) == 1 else choices)

    def chance(self, probability):
        return self.random.random() < probability

    def several(self, low, high, part):
        return "".join(part() for _ in range(self.random.randint(low, high)))

    def pick(self, choices, low, high):
        return self.several(low, high, lambda: self.one(choices))

    def run(self, char, longest):
        return char * self.random.randint(1, longest)

    # Kinds of strings -------------------------------------------------------------------------
    def whitespace(self):
        return self.several(1, 5, lambda: self.run(self.one("    \n\t\r"), self.one(1, 2, 4, 30))
                            + self.one("", "", "a", "1", ".", "\u00e9", "if"))

    def accents(self):
        common = "\u0300\u0301\u0302\u0303\u0307\u0308\u0323\u0327\u0328\u0331\u0345\u0335"
        return self.several(1, 4, lambda: self.one("aeiouncsqAEO \u03b1\u0438\u1ea1\u00e2")
                            + self.pick(self.marks if self.chance(0.3) else common, 0, 4))

    def jamo(self):
        parts = [(0x1100, 0x1112), (0x1161, 0x1175), (0x11A7, 0x11C2)]
        others = [(0xAC00, 0xD7A3), (0x3131, 0x318E), (0xA960, 0xA97C)]
        return self.several(1, 7, lambda: chr(self.random.randint(*self.one(parts if self.chance(0.7) else parts + others))))

    def contractions(self):
        return self.several(1, 3, lambda: self.one(WORDS) + self.one("'", "'", "'", "\u2019", "''", " '", "' ")
                            + self.one(SUFFIXES) + self.one(" ", " ", ". ", "a ", "1 ", "\n"))

    def digits(self):
        return self.several(1, 4, lambda: self.pick(self.numbers if self.chance(0.5) else "0123456789", 1, 4)
                            + self.one("", " ", ".", ",", "x", "\u00b2", "%", "  "))

    def emoji(self):
        return self.several(1, 3, lambda: self.one(EMOJI) + self.one("", "", " ", "  ", "\u200d", "\ufe0f", "a", "1"))

    def bidi(self):
        return self.several(1, 6, lambda: self.one(RIGHT_TO_LEFT) + self.one("", "", " ", "a", "."))

    def odd_spaces(self):
        return self.several(1, 5, lambda: self.run(self.one(SPACES), 3) + self.one("", "", "a", "5", "!", "\n"))

    def added_tokens(self):
        """Whole and damaged added tokens, adjacent, nested and inside words."""
        return self.one("", "", "x", " ", "|", "<|") + self.several(1, 3, lambda: self.damaged(self.one(self.added))
                            + self.one("", "", " ", "  ", "|", "||", "<", ">", "a", "\n", "\u0301", "   ", "'s", "1"))

    def damaged(self, token):
        how, cut = self.random.randrange(8), self.random.randrange(len(token))
        return (token[1:], token[:-1], token[cut:], token[:cut] + self.one(self.added) + token[cut:])[how] if how < 4 else token

    def code(self):
        text = self.one(CODE)
        start = self.random.randrange(len(text))
        return (text[:start] + self.run(" ", 12) + text[start:])[:self.random.randint(20, 90)]

    def raw_bytes(self):
        """Mojibake, and characters that look like the byte alphabet's images of bytes."""
        data = self.one(WORDS).encode() + bytes(self.random.randrange(256) for _ in range(self.random.randint(1, 4)))
        images = "".join(chr(0x100 + byte % 68) for byte in data)
        return self.one(data.decode("latin-1"), images, data.decode("utf-8", "replace"))

    def escapes(self):
        return self.pick(["\\", "\"", "/", "\b", "\f", "\n", "\\u0041", "\\ud83d", "\\x00", "\0", "\x1f", "\u2028", "<", "&",
                          "'", "{", "}", ":", "\ufffd", "\U0001f600"], 1, 8)

    def any_assigned(self):
        return self.pick(self.rare if self.chance(0.75) else self.everything, 1, 5)

    def ascii(self):
        return self.pick([chr(code) for code in range(32, 127)] + ["\n", " ", " "], 1, 40)

    def exercise(self):
        """School arithmetic in the style of word-problem sets."""
        a, b, c = (self.one("{}", "{}.50", "1,{}", "{}/4", "${}", "{}%").format(self.random.randint(2, 999)) for _ in range(3))
        name, thing = self.one("Ana", "Ben's sister", "Mr. O'Neil", "Zo\u00eb"), self.one("apples", "books", "cups of tea")
        return self.one(f"Question: {name} has {a} {thing}.  How many are left?\nAnswer:",
                        f"{a} + {b} = {c} {thing}\n#### {c}", f" {name} buys {a} {thing}, and\n{b}x{c}.")

    def mixture(self):
        return self.several(2, 3, lambda: self.one(self.kinds)()[:12])
