#!/bin/sh
# Builds the zip of the functions: docs/deploy/build.sh arm64|x86_64 [FILE]...
# The files, mappings for example, lie beside the program in the zip. It needs cargo-zigbuild, which
# links against the C library of Lambda's machines (2.34) instead of this machine's.
set -eu
case "${1:-}" in
    arm64) target=aarch64-unknown-linux-gnu ;;
    x86_64) target=x86_64-unknown-linux-gnu ;;
    *) echo "usage: $0 arm64|x86_64 [FILE]..." >&2; exit 2 ;;
esac
zip="$PWD/target/deltafold-lambda-$1.zip"
shift
cargo zigbuild --profile lambda --target "$target.2.34" --package deltafold-cli --bin bootstrap --no-default-features --features lambda
rm -f "$zip"
python3 -m zipfile -c "$zip" "target/$target/lambda/bootstrap" "$@"
ls -l "$zip"
