"""From a recipe to layer digests: what an image is made of, before anything is built.

An image is a chain: its base, then a layer per step. The digest of a step hashes the digest of its parent and all that the
step reads, so equal chains are one layer, whoever asks, and a change rebuilds what stands above it and nothing else. Values of
secrets, the node's package settings and `force` are no part of it. `env` and `workdir` have a digest and no layer: they change what
later steps see, not the file system.

How a `wire.Step` is encoded
----------------------------
`args` is one JSON object (`encode`: sorted keys, no spaces, UTF-8; keys with their default left out). `files` are `(label, blob id)`
with ids of the form `sha256-<hex of the content>`. `secrets` are names of environment variables that only this step may read.

| kind | `args[0]` | `files` |
|---|---|---|
| `pip` | `packages` `[str]`, `index_url` str, `extra_index_url` `[str]`, `find_links` `[str]`, `pre` bool, `extra_options` str (as on a command line), `uv` bool (options are uv's own, no way back to pip) | any number of `("requirements.txt", blob)`: requirements files |
| `apt` | `packages` `[str]` | |
| `run` | `commands` `[str]`: one `/bin/sh -e` script, a command a line | |
| `function` | `name` str (for people), `timeout_s` number (default 3600) | `("function", blob)`: cloudpickle of `(function, args, kwargs)`, without a codec byte; optional `("source", blob)`: a tar unpacked at `/` while the step runs, for the modules that the pickle refers to (`/root` is on `sys.path`) |
| `copy` | `name` str (for people, such as `./data -> /root/data`) | one or more `(name, blob)`: tars, unpacked at `/` of the image in this order |
| `env` | `variables` `{name: value}` | |
| `workdir` | `path` str, absolute | |

A tar's members are named relative to `/` (`root/data/a.txt`); only directories, regular files, and links that stay inside are taken, and
owners are dropped. Equal content should give equal bytes (sorted names, mtime 0), else nothing is shared. `force` rebuilds a step and
all above it.
"""
