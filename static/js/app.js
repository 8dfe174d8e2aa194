// What every page loads.

import "./time.js";
import "./live.js";
import "./toasts.js";
import "./verbs.js";
import "./menus.js";
import "./lists.js";
import "./screens.js";
import "./wall.js";
import "./palette.js";
import "./keys.js";
import "./copies.js";
import "./forms.js";
import "./plan.js";
import "./uploads.js";
import "./create.js";
import "./here.js";
