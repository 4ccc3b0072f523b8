import type { NextFunction, Request, Response } from "express";
import { environment } from "../config/environment";

/** Every answer names the version: in a header, and in the body when it is a JSON object. */
export function answerWithVersion(_request: Request, response: Response, next: NextFunction): void {
  const { version } = environment;
  const json = response.json.bind(response);
  response.setHeader("X-App-Version", version);
  response.json = (body: unknown) =>
    json(typeof body === "object" && body !== null && !Array.isArray(body) ? { ...body, version } : body);
  next();
}
