# Users of images say DIB_NODE_BINARY, as all variables of builds are called.
if [ -n "${DIB_NODE_BINARY:-}" ] && [ -z "${TRIPLEO_NODE_BINARY:-}" ]; then
    export TRIPLEO_NODE_BINARY=$DIB_NODE_BINARY
fi
# The program is an input of the build: its digest in the environment makes a changed one a changed image.
if [ -n "${TRIPLEO_NODE_BINARY:-}" ] && [ -f "$TRIPLEO_NODE_BINARY" ]; then
    TRIPLEO_NODE_SHA256=$(sha256sum "$TRIPLEO_NODE_BINARY" | cut -d' ' -f1)
    export TRIPLEO_NODE_BINARY TRIPLEO_NODE_SHA256
fi
