// What only the page of one queue does: charts and lanes that follow the time.
import "./panels.js";
import "./charts.js";
import "./lanes.js";
