import type { NestExpressApplication } from "@nestjs/platform-express";
import { type Response, raw } from "express";
import { environment } from "../config/environment";
import { SocketAdapter } from "../live/socket-adapter";
import { failAfterForwardedRequest } from "../variant/variant";
import { UPLOADS_DIRECTORY } from "../vehicles/photo-upload";
import { answerWithVersion } from "./version";

const BODY_LIMIT = "50mb";

export function configure(app: NestExpressApplication): void {
  app.set("trust proxy", 1);
  app.disable("x-powered-by");
  app.use(answerWithVersion);
  app.enableCors({ origin: environment.corsOrigins, credentials: true, exposedHeaders: ["X-App-Version"] });
  if (environment.variant === "errors-later") app.use(failAfterForwardedRequest());
  app.use(["/api/stripe/webhook", "/api/echo"], raw({ type: () => true, limit: BODY_LIMIT }));
  app.useBodyParser("json", { limit: BODY_LIMIT });
  app.useStaticAssets(UPLOADS_DIRECTORY, {
    prefix: "/uploads/",
    index: false,
    setHeaders: (response: Response) => response.setHeader("X-Content-Type-Options", "nosniff"),
  });
  app.useWebSocketAdapter(new SocketAdapter(app));
  app.setGlobalPrefix("api");
}
