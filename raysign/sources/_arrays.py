"""What numpy raises for a file of arrays that is torn: its header is a line of Python, its archive a zip."""

import tokenize
import zipfile

TORN = (OSError, ValueError, EOFError, SyntaxError, AttributeError, tokenize.TokenError, zipfile.BadZipFile)
