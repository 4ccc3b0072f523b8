import { setTimeout as sleep } from "node:timers/promises";
import type { RequestHandler } from "express";
import { environment } from "../config/environment";

const CRASH_AFTER_MS = 2000;
const SLOW_START_MS = 20_000;
const CHUNK = 32 * 1024 * 1024;
const CHUNK_EVERY_MS = 200;

export async function beforeStart(): Promise<void> {
  if (environment.variant === "crash") {
    await sleep(CRASH_AFTER_MS);
    console.error("crash by variant: giving up");
    process.exit(1);
  }
  if (environment.variant === "slow") await sleep(SLOW_START_MS);
  if (environment.variant === "memory-hog") hoard();
}

function hoard(): void {
  const hoarded: Buffer[] = [];
  setInterval(() => hoarded.push(Buffer.alloc(CHUNK, 1)), CHUNK_EVERY_MS);
}

/** Healthy until the edge sends traffic: only a proxied request turns /api/vehicles into an error. */
export function failAfterForwardedRequest(): RequestHandler {
  let forwarded = false;
  return (request, response, next) => {
    if (forwarded && request.path.startsWith("/api/vehicles")) {
      response.status(500).json({ statusCode: 500, message: "error by variant" });
      return;
    }
    if (request.headers["x-forwarded-for"]) response.on("finish", () => (forwarded = true));
    next();
  };
}
