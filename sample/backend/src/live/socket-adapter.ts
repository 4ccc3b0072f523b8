import { Logger } from "@nestjs/common";
import { IoAdapter } from "@nestjs/platform-socket.io";
import { createAdapter } from "@socket.io/redis-adapter";
import Redis from "ioredis";
import type { Server, ServerOptions } from "socket.io";
import { environment } from "../config/environment";

/** Events reach the sockets of every replica, whichever replica emits them. */
export class SocketAdapter extends IoAdapter {
  private readonly logger = new Logger(SocketAdapter.name);

  override createIOServer(port: number, options?: ServerOptions): Server {
    const cors = { origin: environment.corsOrigins, credentials: true };
    const server = super.createIOServer(port, { ...options, cors }) as Server;
    if (environment.redis.enabled) server.adapter(createAdapter(this.connect(), this.connect()));
    return server;
  }

  private connect(): Redis {
    const { host, port, password } = environment.redis;
    const client = new Redis({ host, port, password, maxRetriesPerRequest: null });
    client.on("error", (error) => this.logger.warn(`redis: ${error.message}`));
    return client;
  }
}
