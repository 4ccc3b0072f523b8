import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App, type Brand } from "./app";
import "./styles.css";

export function start(brand: Brand): void {
  const root = document.getElementById("root");
  if (!root) throw new Error("index.html has no #root element");
  createRoot(root).render(
    <StrictMode>
      <App brand={brand} />
    </StrictMode>,
  );
}
