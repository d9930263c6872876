"""The routes of `flask_app` and, below `/failing`, those of `failing_flask`. WSGI: `app`."""

import failing_flask
import flask_app
from werkzeug.middleware.dispatcher import DispatcherMiddleware

app = DispatcherMiddleware(flask_app.app, {"/failing": failing_flask.app})
