import { Controller, Get, ServiceUnavailableException } from "@nestjs/common";
import { DataSource } from "typeorm";
import { environment } from "../config/environment";
import { VehicleQueue } from "../vehicles/vehicle-queue";
import { probe } from "./probe";

@Controller("health")
export class HealthController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly queue: VehicleQueue,
  ) {}

  @Get()
  async health(): Promise<object> {
    if (environment.variant === "unhealthy") throw new ServiceUnavailableException("unhealthy by variant");
    const [database, redis] = await Promise.all([this.database(), this.redis()]);
    return { status: "ok", database, redis, timestamp: new Date().toISOString(), uptime: process.uptime() };
  }

  private async database(): Promise<string> {
    if (environment.variant === "disconnected") return "disconnected: by variant";
    return probe(this.dataSource.query("SELECT 1"));
  }

  private async redis(): Promise<string> {
    return environment.redis.enabled ? probe(this.queue.ping()) : "not_checked";
  }
}
