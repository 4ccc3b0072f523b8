import { start } from "../../frontend/src/start";

start({ name: "FlotteQ Client", tagline: "Your fleet at a glance" });
