import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { Controller, Get, HttpCode, Post, Query, Req } from "@nestjs/common";
import type { Request } from "express";

const LONGEST_MS = 10_000;
const LARGEST_ECHO = 1024 * 1024;

const raw = (request: Request): Buffer => (Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0));
const sha256 = (body: Buffer): string => createHash("sha256").update(body).digest("hex");

@Controller()
export class ToolsController {
  @Get("whoami")
  whoami(@Req() request: Request): object {
    return { hostname: hostname(), client: request.ip, protocol: request.protocol, host: request.host };
  }

  @Post("slow")
  @HttpCode(200)
  async slow(@Query("ms") ms?: string): Promise<object> {
    const delay = Math.min(Math.max(Number(ms) || 0, 0), LONGEST_MS);
    await sleep(delay);
    return { hostname: hostname(), ms: delay };
  }

  @Post("echo")
  @HttpCode(200)
  echo(@Req() request: Request): object {
    const body = raw(request);
    return {
      contentType: request.headers["content-type"] ?? null,
      bytes: body.length,
      sha256: sha256(body),
      body: body.length <= LARGEST_ECHO ? decode(body) : null,
    };
  }

  @Post("stripe/webhook")
  @HttpCode(200)
  webhook(@Req() request: Request): object {
    return { received: true, sha256: sha256(raw(request)) };
  }
}

function decode(body: Buffer): unknown {
  const text = body.toString("utf8");
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
