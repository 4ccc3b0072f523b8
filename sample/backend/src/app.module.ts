import { Module } from "@nestjs/common";
import { TypeOrmModule } from "@nestjs/typeorm";
import { databaseOptions } from "./config/database.config";
import { environment } from "./config/environment";
import { HealthController } from "./health/health.controller";
import { LiveGateway } from "./live/live.gateway";
import { ToolsController } from "./tools/tools.controller";
import { VehicleEvent } from "./vehicles/vehicle-event.entity";
import { VehicleQueue } from "./vehicles/vehicle-queue";
import { Vehicle } from "./vehicles/vehicle.entity";
import { VehiclesController } from "./vehicles/vehicles.controller";
import { VehiclesService } from "./vehicles/vehicles.service";

@Module({
  imports: [
    TypeOrmModule.forRoot({ ...databaseOptions(), migrationsRun: environment.production }),
    TypeOrmModule.forFeature([Vehicle, VehicleEvent]),
  ],
  controllers: [HealthController, ToolsController, VehiclesController],
  providers: [LiveGateway, VehicleQueue, VehiclesService],
})
export class AppModule {}
