"""The REST API under `/api/v1/`.

`handlers` are the verbs that workers and clients call all the time. `hot` serves them as a bare ASGI
application; `routes` serves everything, these too, through Django, with the OpenAPI document.
"""
