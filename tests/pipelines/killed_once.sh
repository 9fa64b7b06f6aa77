#!/bin/bash
# Stands for gfe where a share is killed at its first attempt, once something of it is committed: KILLED names the share,
# MARK a file that tells that it happened.
set -u
if [[ " $* " == *" --shard $KILLED "* && ! -e $MARK ]]; then
    touch "$MARK"
    "$GFE" "$@" --shard-rows 100 &
    until ls "$PARTS"/rows-* >/dev/null 2>&1 || ! kill -0 $! 2>/dev/null; do sleep 0.01; done
    kill -KILL $! 2>/dev/null
    wait $! 2>/dev/null
    exit 137
fi
exec "$GFE" "$@"
