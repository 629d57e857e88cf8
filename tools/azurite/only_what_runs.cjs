// Loaded into Azurite before itself. It loads what it does not use here, for more than half of the time that it needs to
// start: its telemetry, although that is switched off, and a server that keeps its data in an SQL database.
const Module = require("node:module");

const UNUSED = new Set(["applicationinsights", "./SqlBlobServer"]);
const load = Module._load;
Module._load = function (request, ...others) {
  return UNUSED.has(request) ? {} : load.call(this, request, ...others);
};
