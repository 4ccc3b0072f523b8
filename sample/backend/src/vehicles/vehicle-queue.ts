import { Injectable, Logger } from "@nestjs/common";
import Bull from "bull";
import { environment } from "../config/environment";

type Handler = (vehicleId: number) => Promise<void>;

interface Payload {
  vehicleId: number;
}

@Injectable()
export class VehicleQueue {
  private readonly logger = new Logger(VehicleQueue.name);
  private readonly queue = environment.redis.enabled ? this.connect() : null;
  private handler: Handler = () => Promise.resolve();

  process(handler: Handler): void {
    this.handler = handler;
    this.queue?.process((job) => handler(job.data.vehicleId)).catch((error: Error) => this.logger.error(error.message));
  }

  enqueue(vehicleId: number): void {
    const done = this.queue
      ? this.queue.add({ vehicleId }, { attempts: 3, backoff: 1000, removeOnComplete: true, removeOnFail: 100 })
      : this.handler(vehicleId);
    done.catch((error: Error) => this.logger.error(`vehicle ${vehicleId} was not queued: ${error.message}`));
  }

  async ping(): Promise<void> {
    await this.queue?.client.ping();
  }

  private connect(): Bull.Queue<Payload> {
    const { host, port, password } = environment.redis;
    const queue = new Bull<Payload>("vehicles", { redis: { host, port, password } });
    queue.on("error", (error) => this.logger.warn(`redis: ${error.message}`));
    return queue;
  }
}
