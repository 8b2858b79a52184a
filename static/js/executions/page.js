// What only the page of one execution does: its log goes on, and what is there to be copied is copied.
import "./log.js";
import "./copy.js";
