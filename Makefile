# Everything that CI checks, with the same commands.

.PHONY: check test lock format

check:
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	djade --check $$(git ls-files --cached --others --exclude-standard 'templates/*.html')
	python manage.py makemigrations --check --dry-run

test:
	pytest

format:
	ruff format .
	ruff check --fix .

lock:
	python .ci/lock.py
