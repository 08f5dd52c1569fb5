#!/bin/sh
# What Nix makes of derivations whose inputs' paths are only known once those are built: `sh make.sh <folder>` with a nix in PATH,
# sqlite3 beside it. They were made with Nix 2.8.0 and 2.34.8, which hash content that has its own path in it in different ways.
# `drv/` gets the derivations as they are evaluated, `resolved/` what they were resolved to, and `realisations` a line for each
# output: the derivation, the output, its path, the resolved derivation (`-` where it is the same one), and the hash that its
# realisation is named by. Paths go to /nix/store; Nix's database is a temporary one.
set -eu
out=$1
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir "$work/conf" "$work/home"
cat > "$work/conf/nix.conf" <<'CONF'
experimental-features = nix-command ca-derivations
build-users-group =
sandbox = false
substituters =
CONF
export NIX_CONF_DIR="$work/conf" HOME="$work/home" XDG_CACHE_HOME="$work/home/cache" NIX_STATE_DIR="$work/state" NIX_REMOTE=local
rm -rf "$out"; mkdir -p "$out/drv" "$out/resolved"
for name in plain below chain flat same.one same.other same deferred above fixed structured; do
    drv=$(nix-instantiate "$(dirname "$0")/derivations.nix" -A "$name" 2>/dev/null)
    drv=${drv%%!*}
    nix-store --realise "$drv" > "$work/paths" 2> "$work/errors" || { cat "$work/errors"; exit 1; }
    cp -n --no-preserve=mode "$drv" "$out/drv/"
    for path in $(sort -u "$work/paths"); do
        resolved=$(nix-store --query --deriver "$path")
        # The second one that makes a path is not named by it.
        case $(basename "$drv") in *-twin.drv) resolved=$drv ;; esac
        if [ "$resolved" = "$drv" ]; then resolved=-; else cp -n --no-preserve=mode "$resolved" "$out/resolved/"; fi
        case $path in *-dev) output=dev ;; *-lib) output=lib ;; *) output=out ;; esac
        # The realisation of the resolved derivation comes first.
        hash=$(sqlite3 "$work/state/db/db.sqlite" "select drvPath from Realisations join ValidPaths on outputPath = ValidPaths.id \
            where path = '$path' and outputName = '$output' order by Realisations.id desc limit 1")
        echo "$(basename "$drv") $output $(basename "$path") $(basename "$resolved") $hash" >> "$out/realisations"
    done
done
