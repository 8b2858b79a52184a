# Everything that CI checks, with the same commands. `make -k check` goes on after a failure.

.PHONY: check formatted linted typed layered templates migrations test format lock

check: formatted linted typed layered templates migrations

formatted:
	ruff format --check .

linted:
	ruff check .

typed:
	mypy

layered:
	lint-imports

templates:
	djade --check $$(git ls-files --cached --others --exclude-standard 'templates/*.html')

migrations:
	python manage.py makemigrations --check --dry-run

test:
	pytest

format:
	ruff format .
	ruff check --fix .

lock:
	python .ci/lock.py
