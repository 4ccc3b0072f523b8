import { start } from "../../frontend/src/start";

start({ name: "FlotteQ Internal", tagline: "FlotteQ staff console" });
