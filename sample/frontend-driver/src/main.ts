import { version } from "../../frontend/src/settings";
import { start } from "../../frontend/src/start";

start({ name: "FlotteQ Driver", tagline: "Your vehicle on the road" });

if ("serviceWorker" in navigator) {
  navigator.serviceWorker
    .register(`/sw.js?version=${encodeURIComponent(version)}`)
    .catch((error: unknown) => console.warn("No offline mode:", error));
}
