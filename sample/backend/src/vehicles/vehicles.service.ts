import { BadRequestException, Injectable, NotFoundException, type OnModuleInit } from "@nestjs/common";
import { InjectRepository } from "@nestjs/typeorm";
import { Repository } from "typeorm";
import { LiveGateway } from "../live/live.gateway";
import { VehicleEvent } from "./vehicle-event.entity";
import { VehicleQueue } from "./vehicle-queue";
import { Vehicle } from "./vehicle.entity";

export interface NewVehicle {
  plate?: unknown;
  mileage?: unknown;
}

const LISTED = 100;

@Injectable()
export class VehiclesService implements OnModuleInit {
  constructor(
    @InjectRepository(Vehicle) private readonly vehicles: Repository<Vehicle>,
    @InjectRepository(VehicleEvent) private readonly events: Repository<VehicleEvent>,
    private readonly queue: VehicleQueue,
    private readonly live: LiveGateway,
  ) {}

  onModuleInit(): void {
    this.queue.process((id) => this.markProcessed(id));
  }

  list(): Promise<Vehicle[]> {
    return this.vehicles.find({ order: { id: "DESC" }, take: LISTED });
  }

  async get(id: number): Promise<Vehicle> {
    const vehicle = await this.vehicles.findOneBy({ id });
    if (!vehicle) throw new NotFoundException(`No vehicle ${id}`);
    return vehicle;
  }

  async create(input: NewVehicle, photo: string | null): Promise<Vehicle> {
    const { id } = await this.vehicles.save({ plate: plate(input.plate), mileage: mileage(input.mileage), photo });
    const vehicle = await this.get(id);
    await this.record(vehicle, "vehicle.created");
    this.queue.enqueue(vehicle.id);
    return vehicle;
  }

  private async markProcessed(id: number): Promise<void> {
    await this.vehicles.update(id, { processed: true });
    await this.record(await this.get(id), "vehicle.processed");
  }

  private async record(vehicle: Vehicle, type: string): Promise<void> {
    await this.events.save({ vehicle, type });
    this.live.broadcast(type, vehicle);
  }
}

function plate(value: unknown): string {
  const text = typeof value === "string" ? value.trim() : "";
  if (text.length < 1 || text.length > 20) throw new BadRequestException("plate: 1 to 20 characters are required");
  return text;
}

function mileage(value: unknown): number {
  const number = Number(value ?? 0);
  if (!Number.isInteger(number) || number < 0 || number > 5_000_000) {
    throw new BadRequestException("mileage: a whole number from 0 to 5000000 is required");
  }
  return number;
}
