"""Characters of each kind that the rules of grapheme clusters know."""

KINDS = (
    "a1 \t\r\n.é漢か©❤\u0301\u0308\u064e\u0628\u200b\u200c\u200d"
    "\u00ad\u202e\ufeff\ufe0f\u203c\u0600\u0915\u094d\u0937\u093f\u0e01\u0e34"
    "\u0e33\u1100\u1161\u11a8\uac00\uac01\ue000\U0001f468\U0001f469\U0001f3fb\U0001f1e9\U0001f1ea\U000e0041\U000e007f"
)
