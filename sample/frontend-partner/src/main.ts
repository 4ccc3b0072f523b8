import { start } from "../../frontend/src/start";

start({ name: "FlotteQ Partner", tagline: "Garage workspace" });
