"""Models that are installed on a box: releases side by side, a probation after each change, and the way back."""
