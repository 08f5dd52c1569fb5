#!/bin/sh
# Makes the vectors anew beside this file, with the nix in PATH: `sh make.sh`. They were made with Nix 2.8.0 (2.26 and newer
# write the same derivations; `impure` needs 2.8 or newer). Everything else of Nix stays in a temporary directory, but the
# paths themselves, which go to /nix/store.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir "$work/conf" "$work/home"
cat > "$work/conf/nix.conf" <<'CONF'
experimental-features = nix-command ca-derivations impure-derivations
build-users-group =
sandbox = false
substituters =
CONF
export NIX_CONF_DIR="$work/conf" HOME="$work/home" XDG_CACHE_HOME="$work/home/cache"

# Derivations: every .drv of the closure, byte for byte, under its own name.
rm -rf drv && mkdir drv
for name in fixed-flat fixed-recursive fixed-on-built builtin-fetch top structured on-floating impure tree; do
    drv=$(nix-instantiate vectors.nix -A "$name" 2>/dev/null)
    for path in $(nix-store --query --requisites "$drv"); do
        case $path in *.drv) cp -n --no-preserve=mode "$path" drv/ ;; esac
    done
done

# A NAR, its listing and its signed narinfo, by the commands that make them.
rm -rf nar signing && mkdir nar signing
tree=$(nix-build --no-out-link vectors.nix -A tree)
nix-store --dump "$tree" > nar/tree.nar
cat "$(nix-build --no-out-link vectors.nix -A fixed-flat)" > nar/file
nix-store --dump "$(nix-build --no-out-link vectors.nix -A fixed-flat)" > nar/file.nar
nix-store --generate-binary-cache-key cache.example-1 signing/secret signing/public
nix copy --to "file://$work/cache?write-nar-listing=1&compression=zstd&secret-key=$PWD/signing/secret" "$tree"
hash=$(basename "$tree" | cut -c1-32)
cp "$work/cache/$hash.ls" nar/tree.ls
cp "$work/cache/$hash.narinfo" signing/narinfo
cp "$work/cache/$(sed -n 's/^URL: //p' signing/narinfo)" nar/tree.nar.zst
