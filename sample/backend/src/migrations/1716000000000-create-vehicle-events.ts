import type { MigrationInterface, QueryRunner } from "typeorm";

export class CreateVehicleEvents1716000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE "vehicle_events" (
        "id" SERIAL NOT NULL,
        "type" character varying(40) NOT NULL,
        "created_at" timestamp with time zone NOT NULL DEFAULT now(),
        "vehicle_id" integer NOT NULL,
        CONSTRAINT "PK_vehicle_events" PRIMARY KEY ("id"),
        CONSTRAINT "FK_vehicle_events_vehicle" FOREIGN KEY ("vehicle_id")
          REFERENCES "vehicles"("id") ON DELETE CASCADE ON UPDATE NO ACTION
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE "vehicle_events"`);
  }
}
