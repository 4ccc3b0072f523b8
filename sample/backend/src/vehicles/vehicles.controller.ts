import { Body, Controller, Get, Param, ParseIntPipe, Post, UploadedFile, UseInterceptors } from "@nestjs/common";
import { PhotoUpload } from "./photo-upload";
import type { Vehicle } from "./vehicle.entity";
import { type NewVehicle, VehiclesService } from "./vehicles.service";

@Controller("vehicles")
export class VehiclesController {
  constructor(private readonly vehicles: VehiclesService) {}

  @Get()
  list(): Promise<Vehicle[]> {
    return this.vehicles.list();
  }

  @Get(":id")
  get(@Param("id", ParseIntPipe) id: number): Promise<Vehicle> {
    return this.vehicles.get(id);
  }

  @Post()
  @UseInterceptors(PhotoUpload)
  create(@Body() body: NewVehicle | undefined, @UploadedFile() photo?: Express.Multer.File): Promise<Vehicle> {
    return this.vehicles.create(body ?? {}, photo ? `/uploads/${photo.filename}` : null);
  }
}
