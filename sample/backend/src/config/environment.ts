const databaseVariables = ["DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME"];

const applicationVariables = [
  ...databaseVariables,
  "REDIS_HOST",
  "REDIS_PORT",
  "REDIS_PASSWORD",
  "JWT_ACCESS_SECRET",
  "JWT_REFRESH_SECRET",
  "JWT_PARTNER_SECRET",
];

const read = (name: string): string => process.env[name]?.trim() ?? "";

const list = (value: string): string[] =>
  value.split(",").map((item) => item.trim()).filter(Boolean);

export const environment = {
  production: read("NODE_ENV") === "production",
  port: Number(read("PORT") || 3000),
  logLevel: read("LOG_LEVEL") || "info",
  corsOrigins: list(read("CORS_ORIGIN")),
  maxFileSize: Number(read("MAX_FILE_SIZE") || 50 * 1024 * 1024),
  allowedFileTypes: list(read("ALLOWED_FILE_TYPES") || "image/jpeg,image/png,image/webp"),
  database: {
    host: read("DB_HOST"),
    port: Number(read("DB_PORT")),
    username: read("DB_USER"),
    password: process.env.DB_PASSWORD ?? "",
    database: read("DB_NAME"),
  },
  redis: {
    enabled: read("REDIS_ENABLED") !== "false",
    host: read("REDIS_HOST"),
    port: Number(read("REDIS_PORT")),
    password: process.env.REDIS_PASSWORD ?? "",
  },
  version: read("APP_VERSION") || "dev",
  variant: read("APP_VARIANT"),
  extraMigrations: list(read("APP_EXTRA_MIGRATION")),
};

function refuseWithout(names: string[]): void {
  const missing = names.filter((name) => !read(name));
  if (missing.length > 0) {
    console.error(`Refusing to start: missing environment variables: ${missing.join(", ")}`);
    process.exit(1);
  }
}

export const requireDatabaseVariables = (): void => refuseWithout(databaseVariables);
export const requireApplicationVariables = (): void => refuseWithout(applicationVariables);
