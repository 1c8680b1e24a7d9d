# The two commands of a newcomer are `make demo` and `make test`; both make what they need in .venv.
# PIP_ARGS goes to pip, as in: make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

.PHONY: demo test wheel clean

demo: .venv/demo
	.venv/bin/vedette demo --out build/demo

test: .venv/dev
	tests/check

wheel: .venv/dev
	.venv/bin/python -m build --wheel --no-isolation

clean:
	rm -rf .venv .typing build dist *.egg-info

.venv/demo .venv/dev: .venv/%: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "Vedette needs Python 3.11 to 3.13: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "installing what \"make $(MAKECMDGOALS)\" needs into .venv (PyTorch is large; this takes minutes)"
	$(PIP) --editable '.[$*]'
	touch $@
