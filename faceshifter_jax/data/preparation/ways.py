"""Ways to know who is in a picture, as `--identities` names them."""

FOLDERS, TOP, NONE = "folders", "top", "none"
