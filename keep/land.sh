cd /work/main && git pull -q --ff-only /tmp/v/merge HEAD
