// Everything the pages do in the browser, one behaviour a file. Without it they work by links and forms.
import "./once.js";
import "./times.js";
import "./announce.js";
import "./dialog.js";
import "./menu.js";
import "./keys.js";
import "./palette.js";
import "./live.js";
import "./held.js";
import "./picks.js";
