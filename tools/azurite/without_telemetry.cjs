// Loaded into Azurite before itself. It loads its telemetry even where that is switched off, for more than half of the
// time that it needs to start.
const Module = require("node:module");

const load = Module._load;
Module._load = function (request, ...others) {
  return request === "applicationinsights" ? {} : load.call(this, request, ...others);
};
