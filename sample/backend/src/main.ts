import "reflect-metadata";
import type { LogLevel } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import type { NestExpressApplication } from "@nestjs/platform-express";
import { AppModule } from "./app.module";
import { environment, requireApplicationVariables } from "./config/environment";
import { configure } from "./http/configure";
import { beforeStart } from "./variant/variant";

function logLevels(): LogLevel[] {
  const important: LogLevel[] = ["fatal", "error", "warn"];
  if (environment.logLevel === "debug") return [...important, "log", "debug"];
  return environment.logLevel === "info" ? [...important, "log"] : important;
}

async function start(): Promise<void> {
  requireApplicationVariables();
  await beforeStart();
  const app = await NestFactory.create<NestExpressApplication>(AppModule, { logger: logLevels(), abortOnError: false });
  configure(app);
  await app.listen(environment.port);
  console.log(`FlotteQ ${environment.version} listens on port ${environment.port}`);
}

start().catch((error: unknown) => {
  console.error("FlotteQ could not start:", error);
  process.exit(1);
});
